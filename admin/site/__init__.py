"""Parts that all pages share: sign-in, language, assets, layout and problem pages."""
