"""How values of the domain are shown: words, formats, charts, and pages that every subject uses."""
