"""Full-ranking evaluation of any model on the test of a split."""
