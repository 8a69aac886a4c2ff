"""All is gone."""
