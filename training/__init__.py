"""Jobs that fit, judge, register and promote models. Labels live here, so serving cannot see the future."""
