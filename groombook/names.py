"""Pools the seeder draws people and places from. All of them are made up or common; none is anybody's record.

The order of a pool is part of the seeded data: appending to or reordering one changes every seeded database.
"""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text of any number of lines."""
    return tuple(text.split())


def listed(text: str) -> tuple[str, ...]:
    """Return what stands between the commas of a text of any number of lines."""
    return tuple(item.strip() for item in " ".join(text.split()).split(","))


def phrases(text: str) -> tuple[str, ...]:
    """Return the lines of a text."""
    return tuple(line.strip() for line in text.strip().splitlines())


FIRST_NAMES = words("""
    Aaliyah Abel Ada Adaeze Adrián Agnieszka Ahmed Aiko Aisha Alasdair Alejandra Alina Amara Amélie
    Amina Amir Ana Anders Andrea Anil Anouk Antonio Anya Arjun Asha Astrid Ayumi Beatriz Benedict Bianca
    Björn Bridget Bruno Camille Carmen Catriona Cedric Chiara Chloe Chinedu Ciara Clara Colin Cyrus
    Dalia Damian Daniela Darius Deepa Delphine Dimitri Dolores Dylan Ebony Eduardo Eleni Elif Elin Emeka
    Emiko Emre Esperanza Esther Ewan Fatima Felix Fernanda Fiona Freya Gareth Gemma Giovanni Grace
    Gustavo Gwen Hana Hannah Haruto Hassan Heidi Henrik Hiroshi Ibrahim Ida Idris Ilse Imani Imogen Ines
    Ingrid Irina Isla Ivan Jade Jamal Jasmine Javier Jelena Jia Joanna Johan Jonas Jorge José Judith
    Kaito Kamala Karim Katarina Kavya Keisha Kenji Khadija Kofi Kwame Laila Lars Latoya Leila Leon Liam
    Linnea Lorenzo Lucía Luca Lukas Magda Maeve Malik Manuel Marek Mariam Marisol Marta Mateo Mei Mercy
    Mika Mila Mohan Monique Naomi Natasha Neha Nia Niamh Nikolai Noah Nora Odette Olamide Olga Omar
    Oscar Otto Pablo Paloma Pedro Petra Philippa Pilar Priya Quentin Rafael Rania Rashid Ravi Renata
    Renée Rosa Rowan Ruth Sadia Samir Sanjay Saoirse Seamus Selma Shanice Simone Siobhán Sofia Soren
    Stella Sunita Tamara Tariq Tatiana Teresa Thandiwe Theo Tomás Ulrich Uma Valentina Vera Viktor
    Vikram Violet Wanjiru Wei Wendell Xavier Ximena Yara Yasmin Yusuf Yuki Zainab Zoë Zofia
""")

SURNAMES = words("""
    Abara Abbott Achterberg Adeyemi Aguilar Ahlgren Akintola Albrecht Almeida Andersson Aoki Appleby
    Arslan Ashdown Asante Baggio Balogun Banerjee Barlow Bauer Beaumont Beltrán Bergström Bhatt Birch
    Björklund Blackwood Boateng Bonnet Borges Brandt Brennan Bui Calloway Campos Cardoso Carvalho
    Castellano Chandra Chaudhry Chen Chevalier Choi Cisneros Coleman Costa Crane D'Angelo Dahl Danso
    Delacroix Delgado Desai Diallo Dimitrov Dlamini Doyle Duarte Dubois Duong Dvorak Eastwood Eriksen
    Escobar Espinoza Farouk Faulkner Ferreira Fischer Fitzgerald Fontaine Forde Fujita Gallagher Garza
    Ghosh Giordano Greenwood Grigoryan Guerrero Gunnarsson Gupta Haddad Halloran Hamid Hartmann
    Hashimoto Hawthorne Hayashi Heikkinen Herrera Hoang Holloway Horvath Hossain Huang Ibarra Iyer
    Jankowski Jansen Jimenez Jokinen Joshi Kamau Kapoor Karlsson Kaur Kavanagh Keller Khalil Kim Kimura
    Kovács Kowalski Kruger Kumar Lachance Laurent Lindqvist Lombardi Lundgren MacLeod Maguire Mahmoud
    Malhotra Marchetti Marino Marsh Mbeki Medina Mehta Mendoza Moreau Moreno Morozov Mukherjee Müller
    Mutua Nakamura Navarro Ndiaye Nguyen Novak Nowak O'Brien O'Connell O'Hara Obi Ocampo Odhiambo Okafor
    Okoye Oliveira Olsen Onyango Ortega Osei Ostrowski Otieno Özdemir Park Patel Pellegrini Pereira
    Petrov Pham Pillai Popescu Prescott Qureshi Quintero Radcliffe Rahman Ramírez Rao Rasmussen Reddy
    Reyes Rinaldi Rivera Romano Rossi Roux Sahin Saito Salazar Sandoval Santoro Sato Schäfer Schneider
    Serrano Shah Sharma Silva Singh Sinclair Sokolov Sorensen Soto Suzuki Svensson Takeda Tanaka Tembo
    Thorne Tran Trujillo Tuominen Underwood Uzun Valdez van-Dijk Varga Vasquez Verma Villanueva Virtanen
    Volkov Walsh Watanabe Weber Wickham Wójcik Wong Yamada Yang Yeboah Yilmaz Zapata Zhang Ziegler Zulu
""")

STREETS = listed("""
    Acorn Lane, Alder Street, Bakery Row, Barnhill Road, Beechwood Avenue, Bellflower Court, Birch
    Hollow Drive, Bluebell Way, Bramble Close, Brickyard Lane, Canal Street, Cedar Ridge Road, Chapel
    Street, Cherry Orchard Lane, Clover Field Road, Copper Beech Drive, Cottonwood Avenue, Dogwood
    Terrace, Elm Park Avenue, Fern Bank Road, Ferry Street, Foundry Road, Foxglove Lane, Garden Street,
    Glenmore Drive, Granary Court, Hawthorn Avenue, Hazel Grove, Heron Way, Hickory Street, Hillcrest
    Road, Ivy Lane, Juniper Street, Kestrel Drive, Lantern Street, Larch Avenue, Lighthouse Road, Linden
    Street, Lockkeeper's Walk, Magnolia Avenue, Maple Street, Market Street, Meadow View, Mill Race
    Road, Mulberry Street, Nettle Hill, North Quay, Oak Street, Old Tannery Lane, Orchard Road, Pear
    Tree Lane, Pine Crest Drive, Poplar Avenue, Primrose Hill, Quarry Road, Railway Terrace, River
    Street, Rosemary Lane, Rowan Street, Saddler's Row, Sandpiper Lane, School Lane, South Harbour Road,
    Spring Street, Station Road, Sycamore Drive, Thistle Street, Tulip Court, Vine Street, Walnut
    Avenue, Weavers Lane, Willow Bend, Windmill Road, Wren Court
""")

CITIES = listed("""
    Aldermere, Ashby Falls, Bellhaven, Briar Glen, Brookmoor, Cedar Point, Clearwell, Copperfield,
    Dunmarrow, Eastlake Mills, Elmswick, Fernhollow, Foxbridge, Graystone, Harrowgate Springs,
    Hazelford, Kingsbarrow, Larkspur, Millbrook Heights, Northwater, Oakhaven, Pinewick, Quailridge,
    Riverbend, Rosedale Junction, Saltmarsh, Stonebridge, Thornbury Vale, Westerlyn, Willowmere
""")

EMAIL_DOMAINS = ("example.com", "example.org", "example.net")
"""Reserved by RFC 2606: nothing a seeded database sends can reach anyone."""

CLIENT_NOTES = phrases("""
    Prefers a text message over a call.
    Please ring twice, the bell is quiet.
    Comes in on the way to the morning shift; early slots only.
    Pays by card at the counter.
    Likes to wait in the shop while we work.
    Collects after five.
    Two dogs, book them back to back.
    Asked for the same groomer each time.
    New in town, found us through the vet.
    Allergic to lavender, keep it off the towels.
    Moved in spring; the address is up to date.
    Often runs ten minutes late.
    A neighbour may collect on their behalf.
    Wants a photo when the groom is finished.
    Parks behind the shop; use the back door.
    Likes a reminder two days ahead.
    Uses a wheelchair; keep the ramp clear.
    Interpreter on the phone line, allow extra time.
    Regular since we opened.
    Always brings their own brush.
    Asks for a quiet hour where possible.
    Works nights, do not call before noon.
    Considering the six-week plan.
    Gift voucher used in part; ask about the balance.
""")

STAFF_NAMES = phrases("""
    Rosalind Achterberg
    Tobias Okoye
    Marisol Keller
    Idris Halloran
    Yuki Lindqvist
    Nadia Ferreira
    Callum Iyer
    Beatrix Novak
""")
"""In the order the staff is created: manager, receptionist, groomers, bathers."""
