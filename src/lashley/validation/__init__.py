"""How far the instrument can be trusted: rates of error on models of known truth, published pitfalls, the demo."""
