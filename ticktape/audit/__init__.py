"""`ticktape audit`: whether every tick that came is where it should be, hop by hop."""
