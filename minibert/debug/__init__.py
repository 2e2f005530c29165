"""Tools for the person with a debugger.  Nothing on the training path imports them."""
