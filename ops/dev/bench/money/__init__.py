"""`./zenzefi bench --money`: how fast the shop sells, how long its books take to prove, how many callbacks it takes."""
