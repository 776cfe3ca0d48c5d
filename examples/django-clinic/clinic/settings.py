"""Settings of the project. CLINIC_DATABASE_URL overrides the database."""

import dj_database_url

SECRET_KEY = "not-a-secret"
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "clinic.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "visits"]
DATABASES = {
    "default": dj_database_url.config(
        env="CLINIC_DATABASE_URL",
        default="postgres://clinic:not-a-password@db.example.com/clinic_production",
    )
}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
