from django.db import migrations


def add(apps, _schema_editor):
    apps.get_model("shop", "Item").objects.create(name="Nothing", price=0)


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_price_index")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
