"""The graph and its execution; knows no astronomy."""
