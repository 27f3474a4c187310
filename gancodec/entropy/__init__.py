"""Integers to bytes and back; numpy only, never torch."""
