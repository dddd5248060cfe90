"""Work that is not done while somebody waits: settlement, mail, clean-up."""
