"""Request handling shared by all pages: authentication, limits, headers, errors, pagination."""
