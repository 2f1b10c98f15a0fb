"""How to learn from a kind of data; one file per recipe, `catalog` finds them."""
