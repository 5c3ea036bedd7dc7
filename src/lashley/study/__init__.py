"""One durable directory: what was asked, every answer, and what follows from them."""
