"""The tables: what everything else depends on."""

from django.db import models


class Fact(models.Model):
    """One that is named: whoever saves it says that it changed."""

    name = models.CharField(max_length=200, primary_key=True)
    n_saves = models.IntegerField(default=0)

    def __str__(self) -> str:
        return str(self.name)


class Item(models.Model):
    """One that stands in lists."""

    section = models.CharField(max_length=50)
    price = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.pk}: {self.section}, {self.price}"
