"""Shoppers and what they choose: tastes, change over time, families of products, events."""
