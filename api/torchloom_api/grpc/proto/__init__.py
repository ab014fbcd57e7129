"""The protocols' messages: `.proto` files, and the code that is made of them."""
