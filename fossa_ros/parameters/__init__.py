"""The parameters of nodes and commands: what each is, where it is read from, what is made of it."""
