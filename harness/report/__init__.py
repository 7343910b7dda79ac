"""Pure functions of a record and its verdict: HTML, JUnit XML, Markdown, terminal."""
