"""What tests of applications, of stores and of Everfresh itself have in common; nothing imports it but tests."""
