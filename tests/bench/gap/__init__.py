"""Tests of ftmb bench --gap."""
