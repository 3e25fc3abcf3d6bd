"""Networks: plain torch modules and the one training loop. They know nothing of stages and products."""
