"""Tests of ftmb bench."""
