"""Several machines behind one edge, and what their clients see when one of them is rolled, or dies."""
