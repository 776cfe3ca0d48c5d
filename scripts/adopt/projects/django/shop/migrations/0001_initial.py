import django.contrib.postgres.fields
import django.contrib.postgres.search
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.CreateModel(
            "Item",
            [
                ("id", models.BigAutoField(primary_key=True, auto_created=True, serialize=False)),
                ("name", models.CharField(max_length=80, unique=True)),
                (
                    "tags",
                    django.contrib.postgres.fields.ArrayField(models.CharField(max_length=20), default=list, size=None),
                ),
                ("price", models.DecimalField(max_digits=8, decimal_places=2)),
                ("words", django.contrib.postgres.search.SearchVectorField(null=True)),
            ],
        ),
        migrations.CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(primary_key=True, auto_created=True, serialize=False)),
                ("placed", models.DateTimeField()),
                ("items", models.ManyToManyField(to="shop.item")),
                ("user", models.ForeignKey(on_delete=models.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]
