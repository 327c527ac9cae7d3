select channels from contact_preferences;
