"""The page that people see while they wait: theme, texts, template, style and assets. It knows nothing of HTTP and of
rooms. See docs/explanation/waiting-page.md."""
