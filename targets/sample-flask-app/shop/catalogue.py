"""What the shop sells: fixed, so that the catalogue needs no database and every reset gives the same shop."""

from __future__ import annotations

from dataclasses import dataclass

_KINDS = ("Lamp", "Chair", "Desk", "Shelf", "Clock", "Vase", "Rug", "Mirror", "Stool", "Bench")
_COLOURS = ("white", "black", "oak", "walnut", "red", "blue", "green", "grey", "brass", "sand")


@dataclass(frozen=True, slots=True)
class Product:
    """One thing to buy."""

    id: int
    name: str
    price_cents: int


PRODUCTS = {
    number: Product(number, f"{_KINDS[number % 10]}, {_COLOURS[number // 10 % 10]}", 990 + 370 * (number % 37))
    for number in range(1, 101)
}
