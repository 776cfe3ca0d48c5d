SECRET_KEY = "a key for trying it out, of a length that is allowed"
SQLALCHEMY_DATABASE_URI = "postgresql+psycopg2://@address@"
