SHOP_DB_HOST=@host@
SHOP_DB_PORT=@port@
SHOP_DB_USER=@user@
SHOP_DB_PASSWORD=@password@
SHOP_DB_NAME=@dbname@
