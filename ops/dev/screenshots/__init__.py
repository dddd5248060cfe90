"""`./zenzefi shots`: every page of the portal as pictures, with what is wrong with them."""
