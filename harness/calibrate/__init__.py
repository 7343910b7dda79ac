"""How often the verdict is wrong: synthetic pairs of arms whose truth is known, and real ones without any fault."""
