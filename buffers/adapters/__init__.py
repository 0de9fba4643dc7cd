"""The memories inside other libraries. Each adapter is imported by who has its library."""
