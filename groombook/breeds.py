"""Pools the seeder draws animals and their visits from.

The order of a pool is part of the seeded data: appending to or reordering one changes every seeded database.
"""

from __future__ import annotations

from groombook.names import listed, phrases, words

DOG_BREEDS = (
    # Breed, and the weight of a grown dog in tenths of a kilogram: least and most.
    ("Airedale Terrier", 190, 290),
    ("Australian Shepherd", 180, 320),
    ("Basset Hound", 200, 300),
    ("Beagle", 90, 140),
    ("Bernese Mountain Dog", 350, 520),
    ("Bichon Frise", 50, 80),
    ("Border Collie", 140, 210),
    ("Boston Terrier", 55, 110),
    ("Boxer", 250, 320),
    ("Cairn Terrier", 60, 75),
    ("Cavalier King Charles Spaniel", 55, 85),
    ("Chihuahua", 15, 30),
    ("Chow Chow", 200, 320),
    ("Cocker Spaniel", 120, 155),
    ("Corgi", 100, 140),
    ("Crossbreed", 60, 350),
    ("Dachshund", 70, 140),
    ("English Springer Spaniel", 180, 250),
    ("French Bulldog", 80, 140),
    ("German Shepherd", 220, 400),
    ("Golden Retriever", 250, 340),
    ("Goldendoodle", 180, 350),
    ("Great Dane", 500, 790),
    ("Greyhound", 260, 400),
    ("Havanese", 35, 60),
    ("Irish Setter", 240, 320),
    ("Jack Russell Terrier", 50, 80),
    ("Labradoodle", 200, 340),
    ("Labrador Retriever", 250, 360),
    ("Lhasa Apso", 55, 80),
    ("Maltese", 20, 40),
    ("Miniature Poodle", 50, 80),
    ("Miniature Schnauzer", 50, 90),
    ("Newfoundland", 450, 680),
    ("Old English Sheepdog", 270, 450),
    ("Papillon", 20, 45),
    ("Pekingese", 32, 64),
    ("Pomeranian", 18, 35),
    ("Portuguese Water Dog", 160, 270),
    ("Pug", 63, 90),
    ("Rottweiler", 350, 600),
    ("Rough Collie", 180, 300),
    ("Saint Bernard", 540, 810),
    ("Samoyed", 160, 300),
    ("Scottish Terrier", 85, 105),
    ("Shetland Sheepdog", 65, 120),
    ("Shiba Inu", 80, 110),
    ("Shih Tzu", 40, 75),
    ("Siberian Husky", 160, 270),
    ("Soft-Coated Wheaten Terrier", 140, 200),
    ("Standard Poodle", 200, 320),
    ("Staffordshire Bull Terrier", 110, 170),
    ("Vizsla", 180, 300),
    ("Weimaraner", 250, 400),
    ("West Highland White Terrier", 65, 100),
    ("Whippet", 110, 190),
    ("Yorkshire Terrier", 20, 32),
)

CAT_BREEDS = (
    ("Birman", 30, 60),
    ("British Shorthair", 35, 80),
    ("Domestic Longhair", 30, 60),
    ("Domestic Shorthair", 30, 60),
    ("Maine Coon", 40, 85),
    ("Norwegian Forest Cat", 40, 80),
    ("Persian", 30, 55),
    ("Ragdoll", 40, 85),
    ("Siberian", 35, 80),
    ("Turkish Angora", 25, 50),
)

PET_NAMES = words("""
    Acorn Apollo Archie Aspen Auggie Bagel Bandit Basil Bean Bear Bella Benji Bertie Biscuit Blue Bonnie
    Boomer Bramble Brie Bruno Buttons Cashew Charlie Chester Chewie Cinnamon Clementine Clover Coco
    Comet Cookie Cooper Cosmo Cricket Daisy Dash Dexter Dobby Domino Dottie Dumpling Duke Echo Ellie
    Ember Fern Fergus Fig Finn Fudge Ginger Gizmo Goose Gracie Gus Hamish Harley Hazel Henry Honey
    Hopper Hugo Indie Ivy Jasper Jellybean Juniper Juno Kiki Kiwi Koda Leo Lola Loki Lucky Lulu Luna
    Mabel Maggie Mango Maple Marley Max Merlin Midnight Milo Mischief Miso Mocha Molly Monty Moose Mopsy
    Muffin Murphy Nacho Nala Nellie Noodle Nutmeg Oakley Olive Ollie Oreo Otis Otter Panda Peaches
    Peanut Pebble Penny Pepper Percy Phoebe Pickle Piper Pippin Poppy Pretzel Pudding Pumpkin Queenie
    Radar Ralph Raven Remy Ripley Rocket Rolo Roscoe Rosie Ruby Rufus Rusty Saffron Sage Sally Scout
    Shadow Skye Smudge Snickers Socks Sorrel Sparky Sprout Stella Sunny Suki Tansy Teddy Thistle Tilly
    Toast Toby Truffle Tucker Tulip Umber Velvet Waffles Wally Wendy Whiskey Widget Willow Winnie
    Winston Wookie Yoshi Zelda Ziggy Zorro
""")

GROOMING_NOTES = phrases("""
    Nervous of the dryer; start on the lowest setting.
    Loves the bath, splashes.
    Needs the muzzle for nails, fine otherwise.
    Ticklish feet, take breaks.
    Mats behind the ears; check each time.
    Pulls on the lead when other dogs pass.
    Stands like a statue, a pleasure to groom.
    Do not shave the coat, brush it out.
    Keep the tail long.
    Short on the belly, longer on the legs.
    Prefers the table near the window.
    Growls when tired; stop and give water.
    Needs two people for the dryer.
    Sheds heavily in spring and autumn.
    Keep the beard square.
    Treats help: carries them in the blue tin.
    Does better in the morning.
    Rescued last year, gentle voice please.
    Old clipper burn on the left flank, skip the short blade.
    Blow-dry by hand only.
""")

HEALTH_ALERTS = phrases("""
    Hip dysplasia: lift with care, no long standing.
    Heart murmur: keep the visit calm and short.
    Epilepsy: no strobe from the dryer, call the owner at once.
    Chicken allergy: no treats without asking.
    Sensitive skin: fragrance-free products only.
    Ear infections: keep ears dry.
    Arthritis in the hind legs.
    Blind in one eye, approach from the right.
    Diabetic: note when last fed.
    Recent surgery scar on the belly.
    Luxating patella, left.
    Deaf: touch gently before moving.
""")

CARE_NOTES = phrases("""
    Uses a step to get on the table.
    Bring the own towel.
    Collar comes off for the bath only.
    Separate from other dogs.
    Rest after the bath before drying.
    Owner stays in sight.
    Cone after the visit if the paw is licked.
    Water bowl within reach.
""")

CUT_STYLES = listed("""
    Teddy bear, Puppy cut, Lion cut, Kennel cut, Summer short, Lamb trim, Continental clip, Breed
    standard, Sanitary and face only, Hand-stripped, Tidy and tail, Natural and brushed out
""")

SHAMPOOS = phrases("""
    Oatmeal
    Hypoallergenic
    Aloe and cucumber
    Whitening
    Coconut
    Medicated, chlorhexidine
    De-shedding
    Puppy, tear-free
    Fragrance-free
    Neem
""")

PRODUCTS = phrases("""
    Oatmeal shampoo, leave-in conditioner
    Hypoallergenic shampoo
    Aloe shampoo, detangling spray
    Whitening shampoo, finishing spray
    Coconut shampoo, paw balm
    Medicated shampoo, ten minutes on
    De-shedding shampoo, undercoat rake
    Tear-free shampoo
    Fragrance-free shampoo, silk conditioner
    Neem shampoo, flea comb
    Ear cleaner, cotton pads
    Enzymatic toothpaste, finger brush
    Styptic powder, nail grinder
    Dry shampoo, slicker brush
""")

VISIT_NOTES = phrases("""
    Calm throughout.
    A little restless towards the end.
    Small mat behind the left ear, brushed out.
    Nails were long; two weeks would be better than six.
    Coat in very good shape.
    Ears red, told the owner.
    First time with the dryer, went well.
    Found one tick, removed it.
    Refused the table, groomed on the floor.
    Owner asked for one centimetre longer next time.
    Slight dandruff, oatmeal next time.
    Broken claw on the right front, vet advised.
    Slept through the brushing.
    Very matted belly, shaved short with consent.
    Good progress since the last visit.
    Needed a break halfway.
    Gained weight, mentioned it kindly.
    Shed a whole second dog.
""")

APPOINTMENT_NOTES = phrases("""
    Booked by telephone.
    Asked for the first slot of the day.
    Owner will wait.
    Check the rabies certificate.
    Combine with nails if time allows.
    Moved from last week.
    Bring the consent form for shaving.
    Second dog follows.
    Voucher.
    Use the quiet room.
""")

CUSTOMER_NOTES = phrases("""
    Please go easy around the eyes.
    He had breakfast late, he may be sleepy.
    Could you check the lump on the neck?
    A bit shorter than last time, please.
    She has started to dislike the brush.
    We will be on the mobile if anything comes up.
    No perfume, thank you.
    Please keep the eyebrows.
    I may be five minutes late.
    Running nose this week, tell me if it looks worse.
""")
