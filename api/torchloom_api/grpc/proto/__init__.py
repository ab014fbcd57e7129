"""The protocols' messages: `.proto` files, and the code that `generate.py` makes of them."""
