"""SQL migrations, applied in name order by mcpserve.migrate."""
