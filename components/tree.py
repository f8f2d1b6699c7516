"""x"""
RUN_ID = "KFP_RUN_ID"
