CREATE SCHEMA "stock";
--> statement-breakpoint
CREATE TYPE "public"."status" AS ENUM('open', 'paid', 'sent');--> statement-breakpoint
CREATE TABLE "customers" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"name" text NOT NULL,
	"address" jsonb
);
--> statement-breakpoint
CREATE TABLE "orders" (
	"id" integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "orders_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 START WITH 1 CACHE 1),
	"customer" uuid NOT NULL,
	"status" "status" DEFAULT 'open' NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "stock"."parts" (
	"kind" text,
	"number" integer,
	"held" integer NOT NULL,
	CONSTRAINT "parts_kind_number_pk" PRIMARY KEY("kind","number"),
	CONSTRAINT "held" CHECK ("stock"."parts"."held" >= 0)
);
--> statement-breakpoint
ALTER TABLE "orders" ADD CONSTRAINT "orders_customer_customers_id_fk" FOREIGN KEY ("customer") REFERENCES "public"."customers"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "orders_customer_at_index" ON "orders" USING btree ("customer","at" DESC NULLS LAST);