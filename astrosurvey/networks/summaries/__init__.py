"""Networks that turn data of any shape into a few numbers which tell of the parameters."""
