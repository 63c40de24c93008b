"""What commands do between reading options and printing, mostly more than one of them."""
