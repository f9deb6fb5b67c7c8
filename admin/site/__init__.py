"""What all pages share: who is signed in, the language, the assets, how a page and a problem look."""
