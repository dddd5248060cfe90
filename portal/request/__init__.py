"""What holds for every request of the portal, whatever page it is for."""
