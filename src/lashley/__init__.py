"""Where does a fact live in a language model, how spread out is it, and does the claim hold?"""
