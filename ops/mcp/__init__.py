"""The platform for operators' assistants, over the Model Context Protocol and the same services as the pages."""
