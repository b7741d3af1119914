"""What mixing and measuring cost, beside what else would do the same."""
