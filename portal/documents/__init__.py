"""Files for download: CSV lists and PDF documents."""
