"""Programs as users of Keras and of packages around it write them."""
