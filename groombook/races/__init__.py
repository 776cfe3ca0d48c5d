"""Races of the sample application: scenarios (*.toml) for the race lab, and the programs that race in them."""
