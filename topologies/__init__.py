"""Emulated networks, made with Mininet and nothing else.

network.py   a Mininet network from a plain description, built in few, large steps
"""
