"""How many images a second one device trains on, what each part takes, and what is possible."""
