"""MCP server for operators' assistants, on the same services as the pages."""
